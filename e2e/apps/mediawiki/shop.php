<?php
// What a house adds to its wiki's LocalSettings.php: two log files, and an extension that fails on request.
$wgDebugLogGroups['exception'] = "$shopLogs/exception.log";
$wgDebugLogGroups['shop'] = "$shopLogs/shop.log";
$wgShowExceptionDetails = false;

$wgHooks['BeforeInitialize'][] = function ($title, $unused, $output, $user, $request) {
    $ref = $request->getRawPostString() ? ($_POST['ref'] ?? '') : '';
    switch ($_POST['kind'] ?? '') {
        case 'boom': throw new LogicException("Order $ref is already closed");
        case 'nested':
            throw new RuntimeException("Payment for basket $ref was refused", 7, new RuntimeException('payment gateway closed the connection'));
        case 'type': new DateTime($ref);
        case 'sql': throw new RuntimeException("bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '$ref'\n\n ORDER BY total]");
        case 'handled':
            MWExceptionHandler::logException(new RuntimeException("Invoice $ref could not be written"));
            break;
        case 'late':
            DeferredUpdates::addCallableUpdate(function () use ($ref) {
                throw new RuntimeException("Mail for order $ref could not be sent");
            });
            break;
    }
};
