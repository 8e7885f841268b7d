package io.kvasir.transport;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.agrona.DirectBuffer;
import org.agrona.MutableDirectBuffer;

/**
 * Seals and checks messages of one direction of a link: HMAC-SHA256 over the message, cut to 16 bytes. The key is of the
 * cluster secret (for the first message) or of the secret and both sides' nonces and incarnations, so that
 * nothing of another link, direction or start of a node is ever valid here. Used by one thread.
 */
final class LinkKeys {
    /** Bytes that a seal adds to a message. */
    static final int SEAL = 16;

    private static final String ALGORITHM = "HmacSHA256";

    private final Mac mac;
    private byte[] scratch = new byte[512];

    private LinkKeys(final byte[] key) {
        mac = macOf(key);
    }

    /** For the message that opens a link, before there are nonces. */
    static LinkKeys hello(final byte[] secret) {
        return new LinkKeys(macOf(secret).doFinal(label("kvasir link 1 hello")));
    }

    /** For all others. Both sides derive the same two, one for each direction. */
    static LinkKeys session(
            final byte[] secret,
            final boolean ofInitiator,
            final long link,
            final Incarnation initiator,
            final long[] initiatorNonce,
            final Incarnation responder,
            final long[] responderNonce) {
        final Mac derive = macOf(secret);
        derive.update(label(ofInitiator ? "kvasir link 1 initiator" : "kvasir link 1 responder"));
        final ByteBuffer words = ByteBuffer.allocate(8 * 13);
        words.putLong(link);
        for (int i = 0; i < 4; i++) {
            words.putLong(initiatorNonce[i]).putLong(responderNonce[i]);
        }
        words.putLong(initiator.high()).putLong(initiator.low());
        words.putLong(responder.high()).putLong(responder.low());
        derive.update(words.array());
        return new LinkKeys(derive.doFinal());
    }

    /** Appends the seal to the message; the buffer has room. Returns the new length. */
    int seal(final MutableDirectBuffer message, final int offset, final int length) {
        message.putBytes(offset + length, code(message, offset, length), 0, SEAL);
        return length + SEAL;
    }

    /** Length of the message without its seal; -1 when the seal is not of this key over these bytes. */
    int open(final DirectBuffer message, final int offset, final int length) {
        final int inside = length - SEAL;
        if (inside < 0) {
            return -1;
        }
        final byte[] right = code(message, offset, inside);
        final byte[] found = new byte[SEAL];
        message.getBytes(offset + inside, found);
        final byte[] cut = new byte[SEAL];
        System.arraycopy(right, 0, cut, 0, SEAL);
        return MessageDigest.isEqual(cut, found) ? inside : -1;
    }

    private byte[] code(final DirectBuffer message, final int offset, final int length) {
        if (scratch.length < length) {
            scratch = new byte[length];
        }
        message.getBytes(offset, scratch, 0, length);
        mac.update(scratch, 0, length);
        return mac.doFinal();
    }

    private static byte[] label(final String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    private static Mac macOf(final byte[] key) {
        try {
            final Mac mac = Mac.getInstance(ALGORITHM);
            mac.init(new SecretKeySpec(key, ALGORITHM));
            return mac;
        } catch (final GeneralSecurityException everyJdkHasIt) {
            throw new IllegalStateException(everyJdkHasIt);
        }
    }
}
