"""Sends a mail with smtplib: send.py PORT MECHANISM USER CA INITIAL, with the token or the password
on standard input.

INITIAL is `initial` to send an initial response with AUTH, as smtplib does by default, and `later` to
wait for a challenge. MECHANISM `none` does not log in. The exit status tells whether the server
accepted the mail; the output contains the dialogue.
"""

import smtplib
import ssl
import sys

port, mechanism, user, ca_file, initial = sys.argv[1:]
secret = sys.stdin.read()


def oauthbearer(challenge):
    """Returns the first message, or the response to a failure (RFC 7628)."""
    first = f"n,a={user},\1host=localhost\1port={port}\1auth=Bearer {secret}\1\1"
    return "\1" if challenge else first


def xoauth2(challenge):
    return "" if challenge else f"user={user}\1auth=Bearer {secret}\1\1"


def plain(challenge):
    return f"\0{user}\0{secret}"


def login(challenge):
    """Returns the user name and then the password, as the challenges ask."""
    return secret if challenge and challenge.lower().startswith(b"pass") else user


MESSAGES = {"OAUTHBEARER": oauthbearer, "XOAUTH2": xoauth2, "PLAIN": plain, "LOGIN": login}

smtp = smtplib.SMTP("localhost", int(port), timeout=15)
smtp.set_debuglevel(2)
smtp.starttls(context=ssl.create_default_context(cafile=ca_file))
smtp.ehlo()
if mechanism != "none":
    message = MESSAGES[mechanism]
    at_once = initial == "initial"
    smtp.auth(mechanism, lambda challenge=None: message(challenge), initial_response_ok=at_once)
smtp.sendmail(f"{user}@localhost", ["bert@localhost"], "Subject: a test\r\n\r\nHello.\r\n")
smtp.quit()
