"""Settings of a private django-cas-server, configured by environment variables."""

import os

HOME = os.environ["CAS_SITE_HOME"]

SECRET_KEY = os.environ["CAS_SITE_SECRET"]
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "urls"
STATIC_URL = "/static/"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "cas_server",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.locale.LocaleMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(HOME, "cas.sqlite3"),
        # Up to forty threads write at the same time.
        "OPTIONS": {"timeout": 60},
    }
}
# Creates the tables directly from the models, without migrations, which saves seconds at each
# start.
MIGRATION_MODULES = {
    app: None for app in ("contenttypes", "auth", "sessions", "cas_server")
}
# One file per session, so that logins do not wait for the database.
SESSION_ENGINE = "django.contrib.sessions.backends.file"
SESSION_FILE_PATH = HOME

CAS_AUTH_CLASS = "users.User"
CAS_PROXY_CA_CERTIFICATE_PATH = os.environ["CAS_SITE_CA"]
CAS_TICKET_VALIDITY = int(os.environ["CAS_SITE_TICKET_VALIDITY"])
# Both settings would query PyPI.
CAS_NEW_VERSION_HTML_WARNING = False
CAS_NEW_VERSION_EMAIL_WARNING = False
