<?php
// A small shop with PHP's own sessions. What fails is logged with the request's ID, and the visitor gets a page that says sorry.
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/page.js') {
    return false;
}
session_start();
switch ($path) {
    case '/order':
    case '/report':
    case '/chart':
        $ref = $_REQUEST['ref'] ?? '';
        error_log("PHP Fatal error:  Request {$_SERVER['HTTP_X_REQUEST_ID']}: $ref could not be served");
        http_response_code(500);
        exit('<!doctype html><title>Sorry</title><h1>We are sorry.</h1>');
    case '/mail':
        error_log('PHP Fatal error:  Mail of session ' . session_id() . ' could not be sent: ' . $_POST['ref']);
        exit('It is on its way.');
    case '/status':
        exit('up');
    case '/login':
        session_regenerate_id(true);
        $_SESSION['user'] = $_POST['user'];
        header('Location: /', true, 302);
        exit;
    case '/logout':
        session_regenerate_id(true);
        $_SESSION = [];
        header('Location: /', true, 302);
        exit;
}
?><!doctype html>
<html><head><title>Shop</title><script src="/page.js"></script></head><body>
<h1>Shop</h1>
<?php if (isset($_SESSION['user'])) { ?>
<p id="user"><?= htmlspecialchars($_SESSION['user']) ?></p><form id="logout" method="post" action="/logout"><button>Log out</button></form>
<?php } else { ?>
<form id="login" method="post" action="/login"><input name="user"><button>Log in</button></form>
<?php } ?>
<form id="order" method="post" action="/order"><input name="ref"><button>Order</button></form>
<form id="report" method="get" action="/report"><input name="ref"><button>Report</button></form>
</body></html>
