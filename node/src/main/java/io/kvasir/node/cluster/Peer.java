package io.kvasir.node.cluster;

import java.util.HexFormat;
import java.util.UUID;

/**
 * A node of the cluster.
 *
 * @param holder its name in the directory: the first half of its incarnation
 * @param incarnation hexadecimal
 * @param port the first of its four
 * @param member its name in the Ignite instance
 */
public record Peer(long holder, String incarnation, String name, String host, int port, UUID member) {
    /** The first half of an incarnation of 16 bytes. */
    public static long holder(final byte[] incarnation) {
        return java.nio.ByteBuffer.wrap(incarnation).getLong();
    }

    static long holder(final String incarnation) {
        return holder(HexFormat.of().parseHex(incarnation));
    }

    /** Where its membership listens. */
    public String address() {
        return host + ":" + port;
    }

    /** UDP port of its bytes. */
    public int linkPort() {
        return port + Ports.LINK;
    }
}
