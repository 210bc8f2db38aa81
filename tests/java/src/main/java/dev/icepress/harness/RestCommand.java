package dev.icepress.harness;

import jakarta.servlet.DispatcherType;
import java.util.EnumSet;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.apache.iceberg.rest.VendingAdapter;
import org.eclipse.jetty.ee10.servlet.FilterHolder;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.http.UriCompliance;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/**
 * {@code rest}: Iceberg's own REST server (its servlet, its handlers) over the JDBC catalog, on loopback and a free port,
 * which it prints first. It ends with its standard input.
 *
 * <ul>
 *   <li>{@code --credential ID:SECRET}: OAuth2; {@code --token-seconds N}: how long a token is good for;
 *   <li>{@code --keys-seconds N}: hands out keys to S3 with each table, of that life;
 *   <li>{@code --lose K}: every K-th commit takes effect and is answered 504.
 * </ul>
 */
final class RestCommand {
  private RestCommand() {}

  static void run(Main.Options options) throws Exception {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      long keysSeconds = options.number("keys-seconds", 0);
      RESTCatalogAdapter adapter =
          keysSeconds > 0 ? new VendingAdapter(catalog, keysSeconds) : new RESTCatalogAdapter(catalog);
      ServletContextHandler context = new ServletContextHandler();
      context.addServlet(new ServletHolder(new RESTCatalogServlet(adapter)), "/*");
      context.addFilter(new FilterHolder(new RestGate(options)), "/*", EnumSet.of(DispatcherType.REQUEST));

      Server server = new Server();
      HttpConfiguration http = new HttpConfiguration();
      // Names may hold whatever can be encoded.
      http.setUriCompliance(UriCompliance.UNSAFE);
      ServerConnector connector = new ServerConnector(server, new HttpConnectionFactory(http));
      connector.setHost("127.0.0.1");
      connector.setPort(0);
      server.addConnector(connector);
      server.setHandler(context);
      server.start();
      System.out.println("http://127.0.0.1:" + connector.getLocalPort());
      System.out.flush();
      while (System.in.read() >= 0) {
        // Until whoever started us goes away.
      }
      server.stop();
    }
  }
}
