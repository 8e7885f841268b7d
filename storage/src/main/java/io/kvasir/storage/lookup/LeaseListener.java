package io.kvasir.storage.lookup;

/** Hears what lookups lease. */
public interface LeaseListener {
    /** Told of each object that a lookup has leased, by its cell; of one prefix, what comes first in it is told last. */
    void leased(LookupCells cells, int cell);
}
