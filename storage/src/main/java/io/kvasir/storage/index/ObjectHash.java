package io.kvasir.storage.index;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;

/** 64 bits for an object's id, all of which spread well; equal ids give equal bits. */
@FunctionalInterface
public interface ObjectHash {
    long of(Hash256 namespace, Hash256 key, Shard shard);
}
