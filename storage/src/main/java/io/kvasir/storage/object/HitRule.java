package io.kvasir.storage.object;

/** When a prefix counts as a hit for one KV group. */
public sealed interface HitRule {
    /** Every chunk of the prefix must be there. */
    record AllChunks() implements HitRule {}

    /** Only the last {@code chunks} chunks of the prefix must be there. */
    record TrailingWindow(int chunks) implements HitRule {
        public TrailingWindow {
            if (chunks < 1) {
                throw new IllegalArgumentException("window_chunks is " + chunks + "; it must be at least 1");
            }
        }
    }
}
