package io.kvasir.node.cluster;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.tier.ssd.StoredObject;
import io.kvasir.transport.Incarnation;
import io.kvasir.transport.ObjectName;
import io.kvasir.transport.ObjectVersion;

/** The same things as storage and transport name them, which do not know each other. */
final class Names {
    private Names() {}

    static ObjectName name(final ObjectId id) {
        final Hash256 n = id.namespace();
        final Hash256 k = id.key();
        return new ObjectName(
                n.a(),
                n.b(),
                n.c(),
                n.d(),
                k.a(),
                k.b(),
                k.c(),
                k.d(),
                id.shard().first(),
                id.shard().second());
    }

    /** Null when the shard is none: a peer may send anything. */
    static ObjectId id(final ObjectName name) {
        try {
            return new ObjectId(
                    new Hash256(name.namespace0(), name.namespace1(), name.namespace2(), name.namespace3()),
                    new Hash256(name.key0(), name.key1(), name.key2(), name.key3()),
                    Shard.of(name.shard0(), name.shard1()));
        } catch (final IllegalArgumentException none) {
            return null;
        }
    }

    static ObjectVersion version(final StoredObject object) {
        final Hash256 parent = object.parent();
        return new ObjectVersion(
                object.length(),
                object.crc32c(),
                object.codec(),
                parent.a(),
                parent.b(),
                parent.c(),
                parent.d(),
                object.chunkIndex(),
                object.priority(),
                object.expiryUnixMs());
    }

    static StoredObject object(final ObjectVersion version) {
        return new StoredObject(
                version.length(),
                version.crc32c(),
                version.codec(),
                new Hash256(version.parent0(), version.parent1(), version.parent2(), version.parent3()),
                version.chunkIndex(),
                version.priority(),
                version.expiryUnixMs());
    }

    /** @param hex 32 hexadecimal digits */
    static Incarnation incarnation(final String hex) {
        return new Incarnation(
                Long.parseUnsignedLong(hex.substring(0, 16), 16), Long.parseUnsignedLong(hex.substring(16), 16));
    }

    static io.kvasir.transport.Peer peer(final Peer peer) {
        return new io.kvasir.transport.Peer(peer.host(), peer.linkPort(), incarnation(peer.incarnation()));
    }
}
