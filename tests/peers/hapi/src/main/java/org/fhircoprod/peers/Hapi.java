package org.fhircoprod.peers;

import ca.uhn.fhir.batch2.api.IJobMaintenanceService;
import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.interceptor.api.IInterceptorService;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.MemoryBinaryStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.entity.StorageSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirPostgresDialect;
import ca.uhn.fhir.jpa.partition.PartitionManagementProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.JpaSystemProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.searchparam.submit.config.SearchParamSubmitterConfig;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.subscription.match.config.SubscriptionProcessorConfig;
import ca.uhn.fhir.jpa.subscription.match.deliver.email.IEmailSender;
import ca.uhn.fhir.jpa.subscription.submit.config.SubscriptionSubmitterConfig;
import ca.uhn.fhir.jpa.util.LoggingEmailSender;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.partition.RequestTenantPartitionInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.tenant.UrlBaseTenantIdentificationStrategy;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import jakarta.persistence.EntityManagerFactory;
import java.util.Properties;
import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

/**
 * HAPI FHIR's JPA server for R4 on loopback, on an H2 database in memory or on an empty PostgreSQL database.
 *
 * <p>Usage: {@code Hapi PORT [JDBC-URL]}. Its base address is {@code http://127.0.0.1:PORT/fhir/PARTITION}; {@code DEFAULT} is
 * there from the start and takes {@code $partition-management-create-partition}, so that every test gets a base
 * address, and data, of its own. Everything else is as HAPI has it out of the box, unless {@code
 * -Dcoprod.search.all=true} switches on the searches that HAPI has but leaves off ({@code :contains}, {@code
 * :missing} and {@code :of-type}) and pages of up to 1,000; {@code -Dcoprod.bulk=true} adds bulk export.
 */
public final class Hapi {

  private static final String IN_MEMORY = "jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1";

  private static String database = IN_MEMORY;

  private Hapi() {}

  public static void main(String[] arguments) {
    try {
      if (arguments.length > 1) {
        database = arguments[1];
      }
      serve(Integer.parseInt(arguments[0]));
    } catch (Exception error) {
      error.printStackTrace();
      // HAPI's own threads would keep a half-started server alive.
      System.exit(1);
    }
  }

  private static void serve(int port) throws Exception {
    AnnotationConfigApplicationContext spring = new AnnotationConfigApplicationContext(Settings.class);
    Server jetty = new Server(new QueuedThreadPool(24));
    ServerConnector connector = new ServerConnector(jetty);
    connector.setHost("127.0.0.1");
    connector.setPort(port);
    jetty.addConnector(connector);
    ServletContextHandler context = new ServletContextHandler("/");
    context.addServlet(new ServletHolder(endpoint(spring)), "/fhir/*");
    jetty.setHandler(context);
    jetty.setStopAtShutdown(true);
    jetty.start();
    if (isBulk()) {
      maintain(spring.getBean(IJobMaintenanceService.class));
    }
    jetty.join();
  }

  private static RestfulServer endpoint(AnnotationConfigApplicationContext spring) {
    RestfulServer server = new RestfulServer(spring.getBean(FhirContext.class));
    server.registerProviders(spring.getBean(ResourceProviderFactory.class).createProviders());
    server.registerProvider(spring.getBean(JpaSystemProvider.class));
    server.registerProvider(spring.getBean(PartitionManagementProvider.class));
    DatabaseBackedPagingProvider paging = spring.getBean(DatabaseBackedPagingProvider.class);
    if (Boolean.getBoolean("coprod.search.all")) {
      paging.setMaximumPageSize(1000);
    }
    server.setPagingProvider(paging);
    server.setDefaultResponseEncoding(EncodingEnum.JSON);
    server.setTenantIdentificationStrategy(new UrlBaseTenantIdentificationStrategy());
    RequestTenantPartitionInterceptor partitions = spring.getBean(RequestTenantPartitionInterceptor.class);
    if (isBulk()) {
      // Exports are made in the background, where only interceptors of the storage are asked.
      spring.getBean(IInterceptorService.class).registerInterceptor(partitions);
      server.registerProvider(spring.getBean(BulkDataExportProvider.class));
    } else {
      server.registerInterceptor(partitions);
    }
    JpaCapabilityStatementProvider capabilities =
        new JpaCapabilityStatementProvider(
            server,
            spring.getBean(IFhirSystemDao.class),
            spring.getBean(JpaStorageSettings.class),
            spring.getBean(ISearchParamRegistry.class),
            spring.getBean(IValidationSupport.class));
    capabilities.setImplementationDescription("HAPI FHIR JPA, for tests");
    server.setServerConformanceProvider(capabilities);
    return server;
  }

  private static boolean isBulk() {
    return Boolean.getBoolean("coprod.bulk");
  }

  /** Has HAPI go on with its exports at once; by itself it looks after them once a minute. */
  private static void maintain(IJobMaintenanceService exports) {
    Thread thread =
        new Thread(
            () -> {
              try {
                while (true) {
                  Thread.sleep(300);
                  exports.forceMaintenancePass();
                }
              } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
              }
            });
    thread.setDaemon(true);
    thread.start();
  }

  /** The beans that HAPI leaves to whoever runs it. */
  @Configuration
  @Import({
    JpaR4Config.class,
    HapiJpaConfig.class,
    JpaBatch2Config.class,
    Batch2JobsConfig.class,
    SubscriptionSubmitterConfig.class,
    SubscriptionProcessorConfig.class,
    SubscriptionChannelConfig.class,
    SearchParamSubmitterConfig.class,
    ThreadPoolFactoryConfig.class
  })
  static class Settings {

    private static boolean isPostgresql() {
      return database.startsWith("jdbc:postgresql:");
    }

    @Bean
    JpaStorageSettings storageSettings() {
      JpaStorageSettings settings = new JpaStorageSettings();
      if (Boolean.getBoolean("coprod.search.all")) {
        settings.setAllowContainsSearches(true);
        settings.setIndexMissingFields(StorageSettings.IndexEnabledEnum.ENABLED);
        settings.setIndexIdentifierOfType(true);
      }
      return settings;
    }

    @Bean
    SubscriptionSettings subscriptionSettings() {
      return new SubscriptionSettings();
    }

    @Bean
    PartitionSettings partitionSettings() {
      PartitionSettings settings = new PartitionSettings();
      settings.setPartitioningEnabled(true);
      // The partition is part of every key, so two departments may use the same id.
      settings.setDatabasePartitionMode(true);
      settings.setDefaultPartitionId(0);
      return settings;
    }

    @Bean
    IBinaryStorageSvc binaryStorage() {
      return new MemoryBinaryStorageSvcImpl();
    }

    @Bean
    IEmailSender emailSender() {
      return new LoggingEmailSender();
    }

    @Bean(destroyMethod = "close")
    DataSource dataSource() {
      BasicDataSource source = new BasicDataSource();
      source.setDriver(isPostgresql() ? new org.postgresql.Driver() : new org.h2.Driver());
      source.setUrl(database);
      source.setMaxTotal(24);
      return source;
    }

    @Bean
    LocalContainerEntityManagerFactoryBean entityManagerFactory(
        DataSource source,
        ConfigurableListableBeanFactory beans,
        FhirContext fhir,
        JpaStorageSettings settings) {
      LocalContainerEntityManagerFactoryBean factory =
          HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, fhir, settings);
      factory.setPersistenceUnitName("hapi");
      factory.setDataSource(source);
      Properties hibernate = new Properties();
      hibernate.put(
          "hibernate.dialect",
          (isPostgresql() ? HapiFhirPostgresDialect.class : HapiFhirH2Dialect.class).getName());
      hibernate.put("hibernate.hbm2ddl.auto", "create");
      hibernate.put("hibernate.jdbc.batch_size", "20");
      hibernate.put("hibernate.search.enabled", "false");
      factory.setJpaProperties(hibernate);
      return factory;
    }

    @Bean
    @Primary
    JpaTransactionManager transactionManager(EntityManagerFactory factory) {
      return new JpaTransactionManager(factory);
    }
  }
}
