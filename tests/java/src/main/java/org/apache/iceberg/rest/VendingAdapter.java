package org.apache.iceberg.rest;

import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.rest.credentials.ImmutableCredential;
import org.apache.iceberg.rest.responses.LoadTableResponse;

/**
 * Iceberg's adapter, which hands out keys to S3 besides with every table: new ones at each load, numbered, that live for
 * so many seconds. It stands in the adapter's package because routes are known there only.
 */
public final class VendingAdapter extends RESTCatalogAdapter {
  private final long keysSeconds;
  private final AtomicLong handedOut = new AtomicLong();

  public VendingAdapter(Catalog catalog, long keysSeconds) {
    super(catalog);
    this.keysSeconds = keysSeconds;
  }

  @Override
  public <T extends RESTResponse> T handleRequest(
      Route route,
      Map<String, String> vars,
      HTTPRequest request,
      Class<T> responseType,
      Consumer<Map<String, String>> responseHeaders) {
    T response = super.handleRequest(route, vars, request, responseType, responseHeaders);
    if (response instanceof LoadTableResponse table && route == Route.LOAD_TABLE && isAsked(request)) {
      return castResponse(responseType, withKeys(table));
    }
    return response;
  }

  private static boolean isAsked(HTTPRequest request) {
    return request
        .headers()
        .firstEntry("x-iceberg-access-delegation")
        .map(header -> header.value().contains("vended-credentials"))
        .orElse(false);
  }

  private LoadTableResponse withKeys(LoadTableResponse table) {
    long number = handedOut.incrementAndGet();
    long end = System.currentTimeMillis() + keysSeconds * 1000;
    LoadTableResponse.Builder builder =
        LoadTableResponse.builder().withTableMetadata(table.tableMetadata()).addAllConfig(table.config());
    for (String prefix : new String[] {"s3://lake", "s3://lake/own"}) {
      builder.addCredential(
          ImmutableCredential.builder()
              .prefix(prefix)
              .putConfig("s3.access-key-id", (prefix.endsWith("own") ? "OWN" : "LAKE") + number)
              .putConfig("s3.secret-access-key", "secret")
              .putConfig("s3.session-token", "session" + number)
              .putConfig("s3.session-token-expires-at-ms", Long.toString(end))
              .build());
    }
    return builder.build();
  }
}
