package io.kvasir.transport;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Writes down how a transfer's objects end. */
final class Ends implements TransferListener {
    final Map<Integer, Outcome> outcomes = new TreeMap<>();
    final List<Peer> corruptAt = new ArrayList<>();
    boolean ended;

    @Override
    public void onObject(final int index, final Outcome outcome) {
        if (outcomes.put(index, outcome) != null) {
            throw new AssertionError("object " + index + " ended twice");
        }
    }

    @Override
    public void onEnd() {
        if (ended) {
            throw new AssertionError("ended twice");
        }
        ended = true;
    }

    @Override
    public void onCorrupt(final int index, final Peer holder, final ObjectVersion version) {
        corruptAt.add(holder);
    }

    boolean all(final Outcome outcome) {
        return ended && outcomes.values().stream().allMatch(each -> each == outcome);
    }

    Outcome only() {
        if (outcomes.size() != 1) {
            throw new AssertionError("ended: " + outcomes);
        }
        return outcomes.get(0);
    }
}
