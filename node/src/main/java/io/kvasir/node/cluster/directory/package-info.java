/**
 * The directory: which node has which chunks. Soft state in a partitioned cache; a holder's word, checked by the pull.
 *
 * <p>Read in this order: {@link io.kvasir.node.cluster.directory.Entry}, the bytes of one entry;
 * {@link io.kvasir.node.cluster.directory.Announcer}, which tells what this node has;
 * {@link io.kvasir.node.cluster.directory.Locator}, which asks who has something;
 * {@link io.kvasir.node.cluster.directory.IgniteDirectory}, where entries lie.
 */
package io.kvasir.node.cluster.directory;
