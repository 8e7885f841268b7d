package io.kvasir.storage.catalog;

import java.nio.file.Path;

/** The process that {@link CatalogTest} kills in mid-write. */
final class KilledCatalog {
    private KilledCatalog() {}

    public static void main(final String[] args) {
        try (Catalog catalog = CatalogTest.open(Path.of(args[0]))) {
            CatalogTest.fill(catalog);
            catalog.flush();
            System.out.println("filled");
            for (int i = 0; !Thread.currentThread().isInterrupted(); i++) {
                catalog.gone(1000 + i % 100, new GoneObject(i, i));
            }
        }
    }
}
