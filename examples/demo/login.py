"""Logs in to the demonstration's imapd with a ticket: login.py PORT TICKET"""

import imaplib
import re
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: login TICKET")
    port, ticket = int(sys.argv[1]), sys.argv[2]

    def answer(challenge):
        # The first challenge is empty and asks for the message. A second one says why the ticket
        # is refused; after any answer to it imapd says NO.
        if challenge:
            print(f"imapd  + {challenge.decode()}")
            return b"\1"
        print(f"client AUTHENTICATE CASPT \\0\\0{ticket}")
        return f"\0\0{ticket}".encode()

    with imaplib.IMAP4("127.0.0.1", port, timeout=30) as imap:
        try:
            _, lines = imap.authenticate("CASPT", answer)
        except imaplib.IMAP4.error as error:
            # imaplib leaves out the word, unless it is BAD.
            sys.exit(f"imapd  NO {error}")
        status = re.sub(r"\[CAPABILITY [^]]*\]", "[CAPABILITY …]", lines[-1].decode())
        print(f"imapd  OK {status}")
        session = re.search(r"SESSIONID=<.*-(\d+)-\d+-\d+>", status)
        if session:
            print(f"       by process {session[1]}")


main()
