package io.kvasir.storage.tier.ssd;

/** How a read ended. The destination's bytes mean something only after {@link Loaded}. */
public sealed interface ReadOutcome {
    /** The bytes are in the destination and their checksum is right. */
    record Loaded(StoredObject object) implements ReadOutcome {}

    /** Not here, expired, or not durable yet. */
    record Miss() implements ReadOutcome {}

    /** The bytes on disk were not what was written; the object was dropped. */
    record Corrupt() implements ReadOutcome {}

    /** Nothing was tried: the queue is full, or the tier is closed. */
    record Rejected(String reason) implements ReadOutcome {}

    /** @param ofMedium the medium cannot give the bytes, however often it is asked; the object was dropped */
    record Failed(String reason, boolean ofMedium) implements ReadOutcome {
        public Failed(final String reason) {
            this(reason, false);
        }
    }

    ReadOutcome MISS = new Miss();
    ReadOutcome CORRUPT = new Corrupt();
}
