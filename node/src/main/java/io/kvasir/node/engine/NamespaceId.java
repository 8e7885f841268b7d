package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.storage.object.Hash256;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.TreeMap;
import org.apache.commons.codec.digest.Blake3;

/**
 * A namespace's id: BLAKE3-256 over named fields, each as u32 length of the name, the name, u32 length of the value, the
 * value; little-endian, names in UTF-8. docs/engine-api.md gives the fields and their order.
 */
final class NamespaceId {
    private NamespaceId() {}

    static Hash256 of(final String tenant, final Namespace namespace) {
        final Blake3 hash = Blake3.initHash();
        field(hash, "tenant", tenant);
        field(hash, "model", namespace.getModel());
        field(hash, "weights_digest", namespace.getWeightsDigest().toByteArray());
        field(hash, "hash_algorithm", namespace.getHashAlgorithm());
        field(hash, "hash_seed", namespace.getHashSeed());
        field(hash, "kv_dtype", namespace.getKvDtype());
        field(hash, "quantization", namespace.getQuantization());
        field(hash, "layout", namespace.getLayout());
        field(hash, "chunk_tokens", littleEndian(Integer.toUnsignedLong(namespace.getChunkTokens())));
        field(hash, "lora", namespace.getLora());
        field(hash, "generation", littleEndian(namespace.getGeneration()));
        final TreeMap<byte[], String> extra = new TreeMap<>(java.util.Arrays::compareUnsigned);
        namespace.getExtraMap().forEach((name, value) -> extra.put(utf8(name), value));
        extra.forEach((name, value) -> {
            final byte[] prefixed = new byte[name.length + 6];
            System.arraycopy(utf8("extra."), 0, prefixed, 0, 6);
            System.arraycopy(name, 0, prefixed, 6, name.length);
            field(hash, prefixed, utf8(value));
        });
        return Hash256.read(hash.doFinalize(Hash256.BYTES), 0);
    }

    private static void field(final Blake3 hash, final String name, final String value) {
        field(hash, name, utf8(value));
    }

    private static void field(final Blake3 hash, final String name, final byte[] value) {
        field(hash, utf8(name), value);
    }

    private static void field(final Blake3 hash, final byte[] name, final byte[] value) {
        hash.update(length(name)).update(name).update(length(value)).update(value);
    }

    private static byte[] length(final byte[] bytes) {
        return ByteBuffer.allocate(Integer.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(bytes.length)
                .array();
    }

    private static byte[] littleEndian(final long value) {
        return ByteBuffer.allocate(Long.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(value)
                .array();
    }

    private static byte[] utf8(final String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
