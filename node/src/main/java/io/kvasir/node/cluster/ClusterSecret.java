package io.kvasir.node.cluster;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** What the nodes of a cluster know: proves a text with HMAC-SHA256, and never shows itself. */
public final class ClusterSecret {
    /** Where all addresses are loopback ones, no secret is asked for; this is then everybody's. */
    private static final String OF_LOOPBACK = "kvasir: a cluster of loopback addresses";

    private static final String ALGORITHM = "HmacSHA256";
    private final byte[] bytes;

    /** @param configured empty: that of a cluster on loopback */
    public ClusterSecret(final String configured) {
        bytes = (configured.isEmpty() ? OF_LOOPBACK : configured).getBytes(StandardCharsets.UTF_8);
    }

    /** For the peer link. */
    byte[] bytes() {
        return bytes.clone();
    }

    /** Hexadecimal; {@code use} keeps a proof for one thing from serving for another. */
    String prove(final String use, final String text) {
        try {
            final Mac mac = Mac.getInstance(ALGORITHM);
            mac.init(new SecretKeySpec(bytes, ALGORITHM));
            mac.update(use.getBytes(StandardCharsets.UTF_8));
            mac.update((byte) 0);
            return HexFormat.of().formatHex(mac.doFinal(text.getBytes(StandardCharsets.UTF_8)));
        } catch (final GeneralSecurityException never) {
            throw new IllegalStateException("every JVM has " + ALGORITHM, never);
        }
    }

    boolean isProof(final String proof, final String use, final String text) {
        return proof != null
                && MessageDigest.isEqual(
                        proof.getBytes(StandardCharsets.UTF_8), prove(use, text).getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public String toString() {
        return "ClusterSecret";
    }
}
