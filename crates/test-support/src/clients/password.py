"""Logs in once with a password: password.py CLIENT PORT USER WAY CA, with the password on standard
input. WAY is `command` or `plain`.

The exit status tells whether the login succeeded; the output contains what the server sent.
"""

import base64
import imaplib
import poplib
import socket
import ssl
import sys

TIMEOUT = 15

client, port, user, way, ca_file = sys.argv[1:]
password = sys.stdin.read()
tls = ssl.create_default_context(cafile=ca_file)
message = f"\0{user}\0{password}".encode()


def imaplib_login():
    imap = imaplib.IMAP4("localhost", int(port), timeout=TIMEOUT)
    imap.starttls(tls)
    print(imap.capabilities)
    if way == "plain":
        print(imap.authenticate("PLAIN", lambda _: message))
    else:
        print(imap.login(user, password))
    print(imap.select())
    imap.logout()


def poplib_login():
    pop = poplib.POP3("localhost", int(port), timeout=TIMEOUT)
    pop.stls(tls)
    pop.set_debuglevel(1)
    if way == "plain":
        # poplib does not support AUTH, so the command is sent directly.
        pop._shortcmd("AUTH PLAIN")
        pop._shortcmd(base64.b64encode(message).decode())
    else:
        pop.user(user)
        pop.pass_(password)
    print(pop.stat())
    pop.quit()


def sieve_login():
    """Performs a login by ManageSieve (RFC 5804), which supports only SASL."""
    connection = socket.create_connection(("localhost", int(port)), TIMEOUT)
    lines = connection.makefile("rb")

    def status():
        while not (text := lines.readline().decode().rstrip()).startswith(("OK", "NO", "BYE")):
            if not text:
                sys.exit("the server closed the connection")
            print(text)
        print(text)
        return text

    def command(text):
        connection.sendall(f"{text}\r\n".encode())
        return status()

    status()
    command("STARTTLS")
    connection = tls.wrap_socket(connection, server_hostname="localhost")
    lines = connection.makefile("rb")
    status()
    # Sent as a literal: a quoted string is limited to 1024 bytes, which a token may exceed.
    text = base64.b64encode(message).decode()
    reply = command(f'AUTHENTICATE "PLAIN" {{{len(text)}+}}\r\n{text}')
    if reply.startswith("OK"):
        reply = command("LISTSCRIPTS")
    # Without LOGOUT, timsieved 3.6.1 crashes after a login.
    command("LOGOUT")
    if not reply.startswith("OK"):
        sys.exit("refused")


LOGINS = {"imaplib": imaplib_login, "poplib": poplib_login, "sieve": sieve_login}
LOGINS[client]()
