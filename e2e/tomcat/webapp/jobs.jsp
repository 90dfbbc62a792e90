<%@ page import="java.util.concurrent.*, java.util.logging.*" %><%!
  private final ScheduledExecutorService scheduler = Executors.newSingleThreadScheduledExecutor();
  private int warehouse;

  public void jspInit() {
    scheduler.scheduleAtFixedRate(this::sync, 300, 300, TimeUnit.MILLISECONDS);
  }

  public void jspDestroy() {
    scheduler.shutdownNow();
  }

  private void sync() {
    Logger.getLogger("com.acme.shop.Jobs").log(Level.SEVERE, "nightly-sync failed for warehouse " + ++warehouse,
        new java.net.ConnectException("Connection refused"));
  }
%>
