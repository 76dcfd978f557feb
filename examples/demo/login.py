"""Logs in to imapd of the demonstration: login.py PORT CREDENTIAL [USER]"""

import imaplib
import re
import sys


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: login TICKET, login TOKEN, or for XOAUTH2: login TOKEN USER")
    port, credential, *user = int(sys.argv[1]), *sys.argv[2:]
    if credential.startswith(("PT-", "ST-")):
        mechanism, message = "CASPT", f"\0\0{credential}"
    elif user:
        mechanism, message = "XOAUTH2", f"user={user[0]}\1auth=Bearer {credential}\1\1"
    else:
        mechanism, message = "OAUTHBEARER", f"n,,\1auth=Bearer {credential}\1\1"

    def answer(challenge):
        # The first challenge is empty and asks for the message. A second one is the error response;
        # imapd replies NO to any answer.
        if challenge:
            print(f"imapd  + {challenge.decode()}")
            return b"\1"
        shown = message.replace("\0", "\\0").replace("\1", "^A")
        print(f"client AUTHENTICATE {mechanism} {shown}")
        return message.encode()

    with imaplib.IMAP4("127.0.0.1", port, timeout=30) as imap:
        try:
            _, lines = imap.authenticate(mechanism, answer)
        except imaplib.IMAP4.error as error:
            # imaplib omits the word NO from the message, but not BAD.
            sys.exit(f"imapd  NO {error}")
        status = re.sub(r"\[CAPABILITY [^]]*\]", "[CAPABILITY …]", lines[-1].decode())
        print(f"imapd  OK {status}")
        session = re.search(r"SESSIONID=<.*-(\d+)-\d+-\d+>", status)
        if session:
            print(f"       by process {session[1]}")


main()
