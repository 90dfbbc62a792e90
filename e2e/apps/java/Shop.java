import com.sun.net.httpserver.*;
import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import org.apache.logging.log4j.*;

/** A small shop that fails on request. It logs by Log4j's API, behind which Log4j or Logback stands. */
public class Shop {
  private static final Logger log = LogManager.getLogger("com.acme.shop.OrderController");
  private static final Logger dispatcher = LogManager.getLogger("com.acme.web.Dispatcher");
  private static final ScheduledExecutorService scheduler = Executors.newScheduledThreadPool(2);

  static class StockException extends RuntimeException {
    StockException(String message, Throwable cause) { super(message, cause); }
  }

  public static void main(String[] args) throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress(args[0], Integer.parseInt(args[1])), 0);
    server.createContext("/", Shop::dispatch);
    server.setExecutor(Executors.newFixedThreadPool(12));
    int[] warehouse = {0};
    scheduler.scheduleAtFixedRate(() -> log.error("nightly-sync failed for warehouse {}", ++warehouse[0],
        new ConnectException("Connection refused")), 300, 300, TimeUnit.MILLISECONDS);
    server.start();
    log.info("Started Shop");
  }

  private static void dispatch(HttpExchange exchange) throws IOException {
    int status = 200;
    try {
      Map<String, String> form = form(exchange.getRequestBody());
      Thread.sleep(ThreadLocalRandom.current().nextInt(5, 25));
      if (exchange.getRequestURI().getPath().startsWith("/old")) status = 404;
      else act(form.getOrDefault("kind", ""), form.get("ref"));
    } catch (Exception e) {
      dispatcher.error("Request processing failed", e);
      status = 500;
    }
    exchange.sendResponseHeaders(status, -1);
    exchange.close();
  }

  private static Map<String, String> form(InputStream body) throws IOException {
    Map<String, String> form = new HashMap<>();
    for (String pair : new String(body.readAllBytes(), StandardCharsets.UTF_8).split("&")) {
      String[] parts = pair.split("=", 2);
      if (parts.length == 2) form.put(parts[0], URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
    }
    return form;
  }

  private static void act(String kind, String ref) {
    switch (kind) {
      case "boom" -> throw new IllegalStateException("Order " + ref + " is already closed");
      case "nested" -> pay(ref);
      case "type" -> Integer.parseInt(ref);
      case "sql" -> throw new StockException("bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '" + ref + "'\n\n ORDER BY total]", null);
      case "handled" -> log.error("Invoice {} could not be written", ref, new IOException("disk quota exceeded"));
      case "brief" -> log.error("Cart {} has no owner", ref);
      case "warn" -> log.warn("Voucher {} is expired", ref);
      case "late" -> scheduler.schedule(() -> mail(ref), 40, TimeUnit.MILLISECONDS);
      default -> log.info("served");
    }
  }

  private static void pay(String ref) {
    try {
      throw new IOException("payment gateway closed the connection");
    } catch (IOException e) {
      throw new StockException("Payment for basket " + ref + " was refused", e);
    }
  }

  private static void mail(String ref) {
    log.error("Mail for order {} could not be sent", ref, new SocketTimeoutException("Connect timed out"));
  }
}
