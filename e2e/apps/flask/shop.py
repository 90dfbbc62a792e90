"""A small shop that fails on request, with Flask's own logging."""
import random
import threading
import time

from flask import Flask, request

app = Flask(__name__)


class StockError(Exception):
    pass


def pay(ref):
    try:
        raise ConnectionError("payment gateway closed the connection")
    except ConnectionError as e:
        raise StockError(f"Payment for basket {ref} was refused") from e


def mail(ref):
    try:
        raise TimeoutError("timed out")
    except TimeoutError:
        app.logger.exception("Mail for order %s could not be sent", ref)


@app.route("/<path:path>", methods=["GET", "POST"])
def shop(path):
    kind, ref = request.form.get("kind"), request.form.get("ref")
    time.sleep(random.uniform(0.005, 0.025))
    if path.startswith("old/"):
        return "", 404
    if kind == "boom":
        raise StockError(f"Order {ref} is already closed")
    if kind == "nested":
        pay(ref)
    if kind == "type":
        int(ref)
    if kind == "sql":
        raise StockError(f"bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '{ref}'\n\n ORDER BY total]")
    if kind == "handled":
        try:
            raise OSError("disk quota exceeded")
        except OSError:
            app.logger.exception("Invoice %s could not be written", ref)
    if kind == "brief":
        app.logger.error("Cart %s has no owner", ref)
    if kind == "warn":
        app.logger.warning("Voucher %s is expired", ref)
    if kind == "late":
        threading.Timer(0.04, mail, [ref]).start()
    return "Thank you."


def sync():
    while True:
        time.sleep(0.3)
        app.logger.error("nightly-sync failed for warehouse %d", random.randint(1, 99))


threading.Thread(target=sync, daemon=True).start()
