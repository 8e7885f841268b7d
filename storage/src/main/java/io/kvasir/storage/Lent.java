package io.kvasir.storage;

import io.kvasir.storage.tier.ssd.StoredObject;
import java.lang.foreign.MemorySegment;

/** An object that is held for sending; any thread may use it until it gives it back. */
public interface Lent {
    StoredObject object();

    /** Fills {@code into}; throws when an engine has taken the bytes away. */
    void read(long position, MemorySegment into);

    /** True while the bytes are what was lent. */
    boolean isUnchanged();

    /** Once; the bytes are not touched afterwards. */
    void giveBack();
}
