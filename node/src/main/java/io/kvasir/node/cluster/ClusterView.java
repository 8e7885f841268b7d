package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.Directory;
import java.util.Map;

/**
 * Who is there, at one time.
 *
 * @param instance counts Ignite instances: another one is another directory, in which nothing is announced yet; 0: none
 * @param directory null while there is none
 * @param peers the other nodes, by {@link Peer#holder()}
 * @param cluster incarnation of the oldest node: the same for all nodes of one cluster; empty while there is none
 */
public record ClusterView(long instance, Directory directory, Map<Long, Peer> peers, String cluster) {
    static final ClusterView NONE = new ClusterView(0, null, Map.of(), "");

    /** Nodes, this one included. */
    public int size() {
        return directory == null ? 1 : peers.size() + 1;
    }
}
