/** kvasir.yaml: its schema, its sources, and the typed settings that come out. */
package io.kvasir.node.config;
