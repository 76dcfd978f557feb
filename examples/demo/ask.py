"""Sends a request to the demonstration: ask.py SOCKET WORD..."""

import socket
import sys


def main():
    request = " ".join(sys.argv[2:])
    try:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(60)
            stream.connect(sys.argv[1])
            stream.sendall(f"{request}\n".encode())
            answer = stream.makefile().readline().strip()
    except OSError as error:
        sys.exit(f"The demonstration does not answer: {error}")
    status, _, text = answer.partition(" ")
    if status != "ok":
        sys.exit(text)
    print(text)


main()
