package io.kvasir.node.cluster;

import io.kvasir.storage.tier.remote.RemoteTier;
import java.util.ArrayList;
import java.util.List;

/** Who has one object. */
final class Holders implements RemoteTier.Copies {
    /** @param onSsd its holder has to read it first */
    record Copy(Peer peer, boolean onSsd) {}

    private final List<Copy> copies = new ArrayList<>(2);
    private long bytes;

    void add(final Peer peer, final boolean onSsd, final long length) {
        for (final Copy known : copies) {
            if (known.peer.holder() == peer.holder()) {
                return;
            }
        }
        copies.add(new Copy(peer, onSsd));
        bytes = Math.max(bytes, length);
    }

    List<Copy> all() {
        return copies;
    }

    @Override
    public long bytes() {
        return bytes;
    }
}
