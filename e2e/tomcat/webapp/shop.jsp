<%@ page import="java.util.*, java.util.concurrent.*, java.util.logging.*" %><%!
  private static final Logger log = Logger.getLogger("com.acme.shop.Shop");
  private static final ScheduledExecutorService later = Executors.newScheduledThreadPool(2);

  public static class StockException extends RuntimeException {
    public StockException(String message, Throwable cause) { super(message, cause); }
  }

  private static void pay(String ref) {
    throw new StockException("Payment for basket " + ref + " was refused",
        new java.io.IOException("payment gateway closed the connection for basket " + ref));
  }

  private static void mail(String ref) {
    log.log(Level.SEVERE, "Mail for order " + ref + " could not be sent", new java.net.SocketTimeoutException("Connect timed out"));
  }
%><%
  String kind = Objects.requireNonNullElse(request.getParameter("kind"), ""), ref = request.getParameter("ref");
  Thread.sleep(ThreadLocalRandom.current().nextInt(5, 25));
  switch (kind) {
  case "boom": throw new IllegalStateException("Order " + ref + " is already closed");
  case "named boom": throw new IllegalStateException("Request " + request.getHeader("X-Request-ID") + ": order " + ref + " is already closed");
  case "nested": pay(ref);
  case "type": Integer.parseInt(ref);
  case "sql": throw new StockException("bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '" + ref + "'\n\n ORDER BY total]", null);
  case "handled": log.log(Level.SEVERE, "Invoice " + ref + " could not be written", new java.io.IOException("disk quota exceeded")); break;
  case "brief": log.severe("Cart " + ref + " has no owner"); break;
  case "named": log.severe("Request " + request.getHeader("X-Request-ID") + ": stock of " + ref + " is negative"); break;
  case "warn": log.warning("Voucher " + ref + " is expired"); break;
  case "late": later.schedule(() -> mail(ref), 40, TimeUnit.MILLISECONDS); break;
  }
%><!doctype html><title>Shop</title><p>Thank you.</p>
