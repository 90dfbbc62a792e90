<%@ page contentType="text/html; charset=UTF-8" import="java.util.logging.*" %><%
  String ref = request.getParameter("ref");
  switch (request.getServletPath()) {
  case "/order": case "/report": case "/chart":
    throw new IllegalStateException("Request " + request.getHeader("X-Request-ID") + ": " + ref + " could not be served");
  case "/mail":
    String id = session.getId();
    java.util.concurrent.CompletableFuture.delayedExecutor(500, java.util.concurrent.TimeUnit.MILLISECONDS).execute(() ->
      Logger.getLogger("shop.Mail").severe("Mail of session " + id + " could not be sent: " + ref));
    response.setStatus(202);
    return;
  case "/status":
    response.setHeader("Cache-Control", "no-store");
    response.getWriter().print("up");
    return;
  case "/login":
    request.changeSessionId();
    session.setAttribute("user", request.getParameter("user"));
    response.sendRedirect("/");
    return;
  case "/logout":
    session.invalidate();
    response.sendRedirect("/");
    return;
  }
  Object user = session.getAttribute("user");
%><!doctype html>
<html><head><title>Shop</title><script src="/page.js"></script></head><body>
<h1>Shop</h1>
<% if (user == null) { %>
<form id="login" method="post" action="/login"><input name="user"><button>Log in</button></form>
<% } else { %>
<p id="user"><%= user %></p><form id="logout" method="post" action="/logout"><button>Log out</button></form>
<% } %>
<form id="order" method="post" action="/order"><input name="ref"><button>Order</button></form>
<form id="report" method="get" action="/report"><input name="ref"><button>Report</button></form>
</body></html>
