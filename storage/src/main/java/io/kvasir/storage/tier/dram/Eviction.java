package io.kvasir.storage.tier.dram;

/** What may give way for a new object. */
public enum Eviction {
    /** Nothing: only a slot that nobody has will do. */
    NOTHING,
    /** What is on SSD too, or a copy of what another node has. */
    SAFE,
    /** Whatever is worth least; what would be lost only when nothing else can go, and the SSD makes no progress. */
    ANYTHING,
    /** The same, and what would be lost goes whether the SSD makes progress or not. */
    AT_ONCE;

    boolean isAnything() {
        return this == ANYTHING || this == AT_ONCE;
    }
}
