package io.kvasir.ops;

import static com.tngtech.archunit.library.Architectures.layeredArchitecture;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.syntax.ArchRuleDefinition;

/** Dependencies point down: ops, node, then storage and transport, which do not see each other. */
@AnalyzeClasses(packages = "io.kvasir", importOptions = ImportOption.DoNotIncludeTests.class)
class ModulesTest {
    @ArchTest
    static final ArchRule DEPENDENCIES_POINT_DOWN = layeredArchitecture()
            .consideringOnlyDependenciesInAnyPackage("io.kvasir..")
            .layer("ops")
            .definedBy("io.kvasir.ops..")
            .layer("node")
            .definedBy("io.kvasir.node..")
            .optionalLayer("transport")
            .definedBy("io.kvasir.transport..")
            .layer("storage")
            .definedBy("io.kvasir.storage..")
            .whereLayer("ops")
            .mayNotBeAccessedByAnyLayer()
            .whereLayer("node")
            .mayOnlyBeAccessedByLayers("ops")
            .whereLayer("transport")
            .mayOnlyBeAccessedByLayers("node", "ops")
            .whereLayer("storage")
            .mayOnlyBeAccessedByLayers("node", "ops");

    @ArchTest
    static final ArchRule STORAGE_KNOWS_NO_NETWORK = ArchRuleDefinition.noClasses()
            .that()
            .resideInAPackage("io.kvasir.storage..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("java.net.http..", "io.aeron..", "com.google.protobuf..", "com.sun.net.httpserver..");

    @ArchTest
    static final ArchRule THE_WIRE_FORMAT_STAYS_IN_THE_ENGINE_SERVER = ArchRuleDefinition.noClasses()
            .that()
            .resideOutsideOfPackage("io.kvasir.node.engine..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("io.kvasir.node.engine.v1..");

    @ArchTest
    static final ArchRule THE_LINKS_MESSAGES_STAY_IN_TRANSPORT = ArchRuleDefinition.noClasses()
            .that()
            .resideOutsideOfPackage("io.kvasir.transport..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("io.kvasir.transport.wire..");

    @ArchTest
    static final ArchRule THE_NODE_KNOWS_NO_AERON = ArchRuleDefinition.noClasses()
            .that()
            .resideInAPackage("io.kvasir.node..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("io.aeron..");
}
