package io.kvasir.storage.tenant;

/** A tenant's part of the arena. */
public interface Tenant {
    String name();

    /** Absolute path of the directory that holds its regions. */
    String directory();
}
