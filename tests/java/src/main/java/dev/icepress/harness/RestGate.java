package dev.icepress.harness;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpServletResponseWrapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/** What stands before a real server and its reference does without: tokens that end, refusals, answers that get lost. */
final class RestGate extends HttpFilter {
  /** A table or namespace of this name is refused to everybody. */
  private static final String FORBIDDEN = "forbidden";

  private final String credential;
  private final long tokenMillis;
  private final long lose;
  private final AtomicLong commits = new AtomicLong();
  private final Map<String, Long> endOfToken = new ConcurrentHashMap<>();

  RestGate(Main.Options options) {
    this.credential = options.get("credential", "");
    this.tokenMillis = options.number("token-seconds", 3600) * 1000;
    this.lose = options.number("lose", 0);
  }

  @Override
  protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    String path = request.getRequestURI();
    if (path.equals("/v1/oauth/tokens")) {
      giveToken(request, response);
    } else if (!credential.isEmpty() && !hasToken(request)) {
      refuse(response, 401, "NotAuthorizedException", "no token, or one that is over");
    } else if (path.contains("/" + FORBIDDEN)) {
      refuse(response, 403, "ForbiddenException", "not for you");
    } else if (lose > 0 && isCommit(request) && commits.incrementAndGet() % lose == 0) {
      chain.doFilter(request, new Unheard(response));
      refuse(response, 504, "GatewayTimeout", "the gateway was tired of waiting");
    } else {
      chain.doFilter(request, response);
    }
  }

  private void giveToken(HttpServletRequest request, HttpServletResponse response) throws IOException {
    String given = request.getParameter("client_id") + ":" + request.getParameter("client_secret");
    response.setContentType("application/json");
    if (!"client_credentials".equals(request.getParameter("grant_type")) || !given.equals(credential)) {
      response.setStatus(401);
      response.getWriter().write("{\"error\":\"invalid_client\",\"error_description\":\"who are you?\"}");
      return;
    }
    String token = UUID.randomUUID().toString();
    endOfToken.put(token, System.currentTimeMillis() + tokenMillis);
    String body = "{\"access_token\":\"%s\",\"token_type\":\"bearer\",\"expires_in\":%d}";
    response.getWriter().write(body.formatted(token, tokenMillis / 1000));
  }

  private boolean hasToken(HttpServletRequest request) {
    String header = request.getHeader("Authorization");
    Long end = header == null ? null : endOfToken.get(header.replaceFirst("^Bearer ", ""));
    return end != null && System.currentTimeMillis() < end;
  }

  private static boolean isCommit(HttpServletRequest request) {
    return request.getMethod().equals("POST") && request.getRequestURI().contains("/tables/");
  }

  private static void refuse(HttpServletResponse response, int status, String type, String message) throws IOException {
    response.setStatus(status);
    response.setContentType("application/json");
    String body = "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":%d}}";
    response.getWriter().write(body.formatted(message, type, status));
  }

  /** A response whose body nobody hears. */
  private static final class Unheard extends HttpServletResponseWrapper {
    private final PrintWriter writer = new PrintWriter(new StringWriter());

    Unheard(HttpServletResponse response) {
      super(response);
    }

    @Override
    public PrintWriter getWriter() {
      return writer;
    }
  }
}
