package io.kvasir.storage.catalog;

import java.nio.file.Path;

/** A process that opens the catalog after its end has begun, as a node does that is stopped right after its start. */
final class EndingCatalog {
    private EndingCatalog() {}

    public static void main(final String[] args) {
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(() -> CatalogTest.open(Path.of(args[0])).close()));
    }
}
