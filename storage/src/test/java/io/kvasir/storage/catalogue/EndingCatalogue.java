package io.kvasir.storage.catalogue;

import java.nio.file.Path;

/** A process that opens the catalogue after its end has begun, as a node does that is stopped right after its start. */
final class EndingCatalogue {
    private EndingCatalogue() {}

    public static void main(final String[] args) {
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(() -> CatalogueTest.open(Path.of(args[0])).close()));
    }
}
