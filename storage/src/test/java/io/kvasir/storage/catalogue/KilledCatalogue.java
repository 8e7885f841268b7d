package io.kvasir.storage.catalogue;

import java.nio.file.Path;

/** The process that {@link CatalogueTest} kills in mid-write. */
final class KilledCatalogue {
    private KilledCatalogue() {}

    public static void main(final String[] args) {
        try (Catalogue catalogue = CatalogueTest.open(Path.of(args[0]))) {
            CatalogueTest.fill(catalogue);
            catalogue.flush();
            System.out.println("filled");
            for (int i = 0; !Thread.currentThread().isInterrupted(); i++) {
                catalogue.gone(1000 + i % 100, new GoneObject(i, i));
            }
        }
    }
}
