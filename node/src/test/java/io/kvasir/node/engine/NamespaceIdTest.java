package io.kvasir.node.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.storage.object.Hash256;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.commons.codec.digest.Blake3;
import org.junit.jupiter.api.Test;

class NamespaceIdTest {
    private static final Namespace PLAIN =
            Namespace.newBuilder().setModel("m").setChunkTokens(256).build();

    @Test
    void isTheHashOfTheDocumentedBytes() {
        final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (final String name : List.of(
                "tenant",
                "model",
                "weights_digest",
                "hash_algorithm",
                "hash_seed",
                "kv_dtype",
                "quantization",
                "layout",
                "chunk_tokens",
                "lora",
                "generation",
                "extra.a",
                "extra.b")) {
            field(
                    bytes,
                    name,
                    switch (name) {
                        case "tenant" -> utf8("t");
                        case "model" -> utf8("m");
                        case "weights_digest" -> new byte[] {1, 2};
                        case "chunk_tokens" -> number(256);
                        case "generation" -> number(3);
                        case "extra.a" -> utf8("1");
                        case "extra.b" -> utf8("2");
                        default -> new byte[0];
                    });
        }
        final Namespace namespace = PLAIN.toBuilder()
                .setWeightsDigest(ByteString.copyFrom(new byte[] {1, 2}))
                .setGeneration(3)
                .putExtra("b", "2")
                .putExtra("a", "1")
                .build();
        assertEquals(Hash256.read(Blake3.hash(bytes.toByteArray()), 0), NamespaceId.of("t", namespace));
    }

    @Test
    void anyDifferenceGivesAnother() {
        final Set<Hash256> ids = new HashSet<>();
        ids.add(NamespaceId.of("t", PLAIN));
        ids.add(NamespaceId.of("u", PLAIN));
        ids.add(NamespaceId.of("t", PLAIN.toBuilder().setLora("m").build()));
        ids.add(NamespaceId.of("t", PLAIN.toBuilder().setHashSeed("m").build()));
        ids.add(NamespaceId.of("t", PLAIN.toBuilder().setGeneration(1).build()));
        ids.add(NamespaceId.of("t", PLAIN.toBuilder().setChunkTokens(512).build()));
        ids.add(NamespaceId.of("t", PLAIN.toBuilder().putExtra("", "").build()));
        ids.add(NamespaceId.of("t", PLAIN.toBuilder().putExtra("a", "").build()));
        assertEquals(8, ids.size());
        assertNotEquals(
                NamespaceId.of("t", PLAIN.toBuilder().putExtra("ab", "c").build()),
                NamespaceId.of("t", PLAIN.toBuilder().putExtra("a", "bc").build()));
    }

    private static void field(final ByteArrayOutputStream bytes, final String name, final byte[] value) {
        bytes.writeBytes(u32(name.length()));
        bytes.writeBytes(utf8(name));
        bytes.writeBytes(u32(value.length));
        bytes.writeBytes(value);
    }

    private static byte[] u32(final int value) {
        return ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(value)
                .array();
    }

    private static byte[] number(final long value) {
        return ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(value)
                .array();
    }

    private static byte[] utf8(final String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
