// Logs in once: imapflow.mjs PORT USER CA SECURE, with the token on standard input. The exit status
// tells whether the login succeeded; the output contains the lines of the server.

import fs from 'node:fs';
import { ImapFlow } from 'imapflow';

const [port, user, caFile, secure] = process.argv.slice(2);

const log = entry => console.log(JSON.stringify(entry));

const client = new ImapFlow({
    host: 'localhost',
    port: Number(port),
    secure: secure === 'true',
    doSTARTTLS: secure !== 'true',
    auth: { user, accessToken: fs.readFileSync(0, 'utf8') },
    tls: { ca: fs.readFileSync(caFile) },
    clientInfo: { name: 'imapflow' },
    logRaw: true,
    logger: { trace: log, debug: log, info: log, warn: log, error: log }
});

// connect() reports errors through its promise; an unhandled error event would end the process.
client.on('error', log);

client
    .connect()
    .then(() => client.mailboxOpen('INBOX'))
    .then(() => client.logout())
    .catch(error => {
        log({ error: error.message, response: error.response, oauthError: error.oauthError });
        process.exitCode = 1;
        client.close();
    });
