<?php
// A minimal webmail: phpCAS in proxy mode, and c-client for the mailbox. It replies in JSON. It
// handles all requests, whatever their path, and is configured by environment variables.

require_once 'CAS.php';

// In seconds. The default of c-client is a minute for each step.
const TIMEOUT = 15;

$home = getenv('WEBMAIL_HOME');
$cas_port = parse_url(getenv('WEBMAIL_CAS'), PHP_URL_PORT);
phpCAS::proxy(CAS_VERSION_3_0, 'localhost', $cas_port, '', getenv('WEBMAIL_ORIGIN'));
phpCAS::setCasServerCACert("$home/ca.pem");
phpCAS::setPGTStorageFile("$home/tickets");
phpCAS::setFixedCallbackURL(getenv('WEBMAIL_PGT_URL'));
// Returns only if the user is logged in. Also handles the callback of the CAS server, and exits.
phpCAS::forceAuthentication();

$reply = match (basename(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH))) {
    'fetch' => fetch($_GET['service']),
    'open' => open($_GET['mailbox'], $_GET['user']),
    'service_mail' => service_mail($_GET['mailbox'], $_GET['service']),
    'spoil' => spoil(),
    default => ['user' => phpCAS::getUser()],
};
header('Content-Type: application/json');
echo json_encode($reply, JSON_THROW_ON_ERROR);

/** Obtains a new proxy ticket and stores it in the session. */
function fetch(string $service): array
{
    $ticket = phpCAS::retrievePT($service, $code, $error);
    $_SESSION['ticket'] = $ticket;
    return ['ticket' => $ticket, 'errors' => $ticket ? [] : [$error]];
}

/** Replaces the ticket of the session with one that was never issued. */
function spoil(): array
{
    $last = substr($_SESSION['ticket'], -1);
    $_SESSION['ticket'] = substr($_SESSION['ticket'], 0, -1) . ($last === 'x' ? 'y' : 'x');
    return ['ticket' => $_SESSION['ticket']];
}

/** Opens a mailbox with the ticket of the session. */
function open(string $mailbox, string $user): array
{
    $ticket = $_SESSION['ticket'];
    return timed(fn () => [@imap_open($mailbox, $user, $ticket), []]);
}

/** Opens a mailbox with the phpCAS function for it, which obtains a ticket of its own. */
function service_mail(string $mailbox, string $service): array
{
    return timed(function () use ($mailbox, $service) {
        $connection = phpCAS::serviceMail($mailbox, $service, 0, $code, $error, $ticket);
        return [$connection, $connection ? [] : [$error]];
    });
}

function timed(Closure $open): array
{
    // Releases the session, so that other requests of the user need not wait for the mail server.
    session_write_close();
    foreach ([IMAP_OPENTIMEOUT, IMAP_READTIMEOUT, IMAP_WRITETIMEOUT, IMAP_CLOSETIMEOUT] as $which) {
        imap_timeout($which, TIMEOUT);
    }
    $start = hrtime(true);
    [$connection, $errors] = $open();
    $milliseconds = intdiv(hrtime(true) - $start, 1_000_000);
    $messages = $connection ? imap_num_msg($connection) : null;
    if ($connection) {
        imap_close($connection);
    }
    return [
        'opened' => (bool) $connection,
        'messages' => $messages,
        'milliseconds' => $milliseconds,
        // Includes warnings, which also occur on success.
        'errors' => array_merge($errors, imap_errors() ?: []),
    ];
}
