"""The container's health: whether `live --web` on port 8080 classifies fresh frames.

The page wants its token of everybody, so POCKETLENS_WEB_TOKEN has to be set.
"""

import http.client
import os
import sys

PORT = 8080


def main() -> str | None:
    """Return what is wrong, None if nothing is."""
    token = os.environ.get("POCKETLENS_WEB_TOKEN")
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=4)
    try:
        connection.request(
            "GET", "/healthz", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        answer = connection.getresponse()
        text = answer.read(1000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"Nothing answers on port {PORT}: {error}. Run live with --web 0.0.0.0:{PORT}."
    if answer.status == http.HTTPStatus.UNAUTHORIZED:
        return "The page does not accept POCKETLENS_WEB_TOKEN. Set it, and no --web-token."
    print(text)
    return None if answer.status == http.HTTPStatus.OK else f"{answer.status} is not healthy."


if __name__ == "__main__":
    sys.exit(main())
