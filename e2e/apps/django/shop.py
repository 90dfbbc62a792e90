"""A small shop that fails on request, with the console logging of Django's manual."""
import logging
import random
import threading
import time

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseNotFound
from django.urls import re_path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    ROOT_URLCONF=__name__,
    SECRET_KEY="only here",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"verbose": {"format": "{levelname} {asctime} {module} {process:d} {thread:d} {message}", "style": "{"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "verbose"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    },
)
log = logging.getLogger("shop")


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
        log.exception("Mail for order %s could not be sent", ref)


def old(request):
    return HttpResponseNotFound()


def shop(request):
    kind, ref = request.POST.get("kind"), request.POST.get("ref")
    time.sleep(random.uniform(0.005, 0.025))
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
            log.exception("Invoice %s could not be written", ref)
    if kind == "brief":
        log.error("Cart %s has no owner", ref)
    if kind == "warn":
        log.warning("Voucher %s is expired", ref)
    if kind == "late":
        threading.Timer(0.04, mail, [ref]).start()
    return HttpResponse("Thank you.")


def sync():
    while True:
        time.sleep(0.8)
        log.error("nightly-sync failed for warehouse %d", random.randint(1, 99))


urlpatterns = [re_path("^old/", old), re_path("", shop)]
application = get_wsgi_application()
threading.Thread(target=sync, daemon=True).start()
