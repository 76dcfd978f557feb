"""The user database: every user exists and has the password `test`."""

from cas_server.auth import AuthUser


class User(AuthUser):
    def test_password(self, password):
        return password == "test"

    def attributs(self):
        name = self.username
        return {
            "uid": name,
            "mail": f"{name}@example.org",
            "department": "physics",
            "role": ["mail", "staff"],
        }
