"""The WSGI application. gunicorn loads it once, before it forks its workers."""

import os
import threading

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.db.backends.signals import connection_created
from django.http.response import HttpResponseRedirectBase

# The redirection with a service ticket for a mail server goes to imap://…, which Django rejects by
# default.
HttpResponseRedirectBase.allowed_schemes = ["http", "https", "imap", "imaps", "pop", "sieve"]


def disable_fsync(connection, **_):
    """Turns off fsync: nothing here has to survive a power failure."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = OFF")


def create_database():
    from cas_server.models import ReplaceAttributName, ServicePattern

    call_command("migrate", run_syncdb=True, verbosity=0)
    with connections["default"].cursor() as cursor:
        # In WAL mode, readers and writers do not block each other. The mode is stored in the file.
        cursor.execute("PRAGMA journal_mode = WAL")
    rows = [
        dict(name="portal", pattern=r"^https://localhost:\d+/[a-z]+/$"),
        dict(name="callback", pattern=r"^https://localhost:\d+/[a-z]+/pgt$", proxy_callback=True),
        dict(name="http", pattern=r"^http://localhost(:\d+)?/?$", proxy=True),
        dict(name="imap", pattern=r"^imaps?://localhost(:\d+)?/?$", proxy=True),
        dict(name="pop", pattern=r"^pop://localhost(:\d+)?/?$", proxy=True),
        dict(name="sieve", pattern=r"^sieve://localhost(:\d+)?/?$", proxy=True),
    ]
    for position, row in enumerate(rows):
        service = ServicePattern.objects.create(pos=position, **row)
        # By default, no attributes are released.
        ReplaceAttributName.objects.create(name="*", service_pattern=service)


connection_created.connect(disable_fsync)
if not os.path.exists(settings.DATABASES["default"]["NAME"]):
    create_database()
# The processes that gunicorn forks must not share a connection.
connections.close_all()

django_application = get_wsgi_application()
access_log = open(os.path.join(settings.HOME, "access.log"), "ab", buffering=0)
log_lock = threading.Lock()


def application(environ, start_response):
    """Logs each request before it is answered.

    gunicorn's own log is written after the answer: a test that has the answer would have to guess
    when to read it.
    """

    def log_and_start(status, headers, *rest):
        query = environ.get("QUERY_STRING")
        target = environ["PATH_INFO"] + (f"?{query}" if query else "")
        line = f"{environ['REQUEST_METHOD']} {target} {status.split()[0]}\n"
        with log_lock:
            access_log.write(line.encode())
        return start_response(status, headers, *rest)

    return django_application(environ, log_and_start)
