<?php
// A small shop that fails on request. What is uncaught, PHP writes into Apache's error log.
class StockException extends RuntimeException {}

function pay(string $ref): void
{
    try {
        throw new RuntimeException('payment gateway closed the connection');
    } catch (RuntimeException $e) {
        throw new StockException("Payment for basket $ref was refused", 7, $e);
    }
}

$ref = $_POST['ref'] ?? '';
usleep(random_int(5, 25) * 1000);
if (str_starts_with($_SERVER['REQUEST_URI'], '/old')) {
    http_response_code(404);
    exit;
}
switch ($_POST['kind'] ?? '') {
    case 'boom': throw new LogicException("Order $ref is already closed");
    case 'nested': pay($ref);
    case 'type': new DateTime($ref);
    case 'sql': throw new StockException("bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '$ref'\n\n ORDER BY total]");
    case 'handled': error_log("Invoice $ref could not be written: disk quota exceeded"); break;
    case 'warn': trigger_error("Voucher $ref is expired", E_USER_WARNING); break;
}
echo 'Thank you.';
