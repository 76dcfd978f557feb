"""Logs in once: login.py CLIENT PORT USER MECHANISM CA, with the token on standard input.

The exit status tells whether the login succeeded; the output contains what the server sent in base64.
"""

import base64
import imaplib
import logging
import poplib
import socket
import ssl
import sys

TIMEOUT = 15

client, port, user, mechanism, ca_file = sys.argv[1:]
token = sys.stdin.read()
tls = ssl.create_default_context(cafile=ca_file)


def message():
    if mechanism == "OAUTHBEARER":
        return f"n,a={user},\1host=localhost\1port={port}\1auth=Bearer {token}\1\1".encode()
    return f"user={user}\1auth=Bearer {token}\1\1".encode()


def answer():
    """Returns the response to a failure, as RFC 7628 or the description of XOAUTH2 requires."""
    return b"\1" if mechanism == "OAUTHBEARER" else b""


def imaplib_login():
    imap = imaplib.IMAP4("localhost", int(port), timeout=TIMEOUT)
    imap.starttls(tls)
    print(imap.capabilities)
    messages = iter([message(), answer()])

    def respond(challenge):
        print("+", base64.b64encode(challenge).decode())
        return next(messages, None)

    print(imap.authenticate(mechanism, respond))
    print(imap.select())
    imap.logout()


def imapclient_login():
    import imapclient

    # Enables imaplib's trace, which is written to the log.
    logging.basicConfig(level=logging.DEBUG)
    imap = imapclient.IMAPClient("localhost", int(port), ssl=False, timeout=TIMEOUT)
    imap.starttls(tls)
    if mechanism == "OAUTHBEARER":
        imap.oauthbearer_login(user, token)
    else:
        imap.oauth2_login(user, token)
    imap.select_folder("INBOX")
    imap.logout()


def poplib_login():
    """poplib does not support AUTH, so the command is sent directly."""
    pop = poplib.POP3("localhost", int(port), timeout=TIMEOUT)
    pop.stls(tls)
    pop.set_debuglevel(2)
    pop.capa()
    reply = pop._shortcmd(f"AUTH {mechanism}")
    for line in (message(), answer()):
        if reply.startswith(b"+OK"):
            break
        reply = pop._shortcmd(base64.b64encode(line).decode())
    print(pop.stat())
    pop.quit()


def sieve_login():
    """Performs a login by ManageSieve (RFC 5804)."""
    connection = socket.create_connection(("localhost", int(port)), TIMEOUT)
    lines = connection.makefile("rb")

    def line():
        text = lines.readline().decode().rstrip()
        print(text)
        if text.startswith("{"):
            # A literal follows. Base64 contains no line ends, so it is a single line.
            return line()
        return text

    def status():
        while not (text := line()).startswith(("OK", "NO", "BYE")):
            if not text:
                sys.exit("the server closed the connection")
        return text

    def send(command, value):
        # Sent as a literal: a quoted string is limited to 1024 bytes, which a token may exceed.
        text = base64.b64encode(value).decode()
        connection.sendall(f"{command}{{{len(text)}+}}\r\n{text}\r\n".encode())

    status()
    connection.sendall(b"STARTTLS\r\n")
    status()
    connection = tls.wrap_socket(connection, server_hostname="localhost")
    lines = connection.makefile("rb")
    status()
    send(f'AUTHENTICATE "{mechanism}" ', message())
    reply = line()
    if not reply.startswith(("OK", "NO", "BYE")):
        send("", answer())
        reply = status()
    if reply.startswith("OK"):
        connection.sendall(b"LISTSCRIPTS\r\n")
        reply = status()
    # Without LOGOUT, timsieved 3.6.1 crashes after a login.
    connection.sendall(b"LOGOUT\r\n")
    status()
    if not reply.startswith("OK"):
        sys.exit("refused")


LOGINS = {
    "imaplib": imaplib_login,
    "imapclient": imapclient_login,
    "poplib": poplib_login,
    "sieve": sieve_login,
}
LOGINS[client]()
