"""The wiring: what one process of the service is made of."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

import redis
import redis.asyncio
from sqlalchemy import Engine

from service.append import Limits
from service.catalog import Catalog
from service.commands import Commands
from service.database import Sessions, sessions
from service.ingest import Ingest
from service.keyring import Keyring
from service.keys import Keys
from service.meters import Meters
from service.model_gauges import ModelGauges
from service.prediction import Prediction
from service.publications import Publications
from service.quota import Quota
from service.rates import Rates
from service.redis_clients import async_client, sync_client
from service.rewind import Rewind
from service.settings import Settings
from service.snapshots import Snapshots
from service.supervisor import Supervisor
from service.tracking import Tracking
from service.tuning import Tuning
from service.weights import Everywhere, PubSubPublisher, cancelled, follow, follow_while


@dataclass(frozen=True)
class Services:
    """listeners: free places for those who listen to events; draining: set when this process is told to end."""

    settings: Settings
    engine: Engine
    sessions: Sessions
    sync_redis: redis.Redis
    async_redis: redis.asyncio.Redis
    publications: Publications
    supervisor: Supervisor | None
    keyring: Keyring
    keys: Keys
    rates: Rates
    catalog: Catalog
    ingest: Ingest
    prediction: Prediction
    snapshots: Snapshots
    rewind: Rewind
    tuning: Tuning
    tracking: Tracking
    listeners: asyncio.Semaphore
    draining: threading.Event
    meters: Meters

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Learners learn (roles all, learner), replicas follow (role api, and all where it stands by), until the block ends."""
        self.publications.attach(asyncio.get_running_loop())
        following = None
        if self.supervisor is None:
            following = asyncio.create_task(follow(self.async_redis, self.publications))
        else:
            self.supervisor.start()
            if self.settings.role == "all":
                stands_by = self.supervisor.stands_by
                following = asyncio.create_task(follow_while(stands_by, self.async_redis, self.publications))
        try:
            yield
        finally:
            if following is not None:
                await cancelled(following)
            if self.supervisor is not None:
                await asyncio.to_thread(self.supervisor.stop)
            self.publications.detach()
            await self.rates.close()
            await self.async_redis.aclose()
            self.sync_redis.close()
            self.engine.dispose()


def assemble(settings: Settings, *, redis_url: str, engine: Engine, node: str, wait_aof: bool = False) -> Services:
    """Args:
    node: under what name this process's learners take leases.
    wait_aof: whether accepting samples waits for the append-only file's sync.
    """
    session_factory = sessions(engine)
    client = sync_client(redis_url)
    async_redis = async_client(redis_url)
    publications = Publications()
    keyring = Keyring(session_factory)
    meters = Meters()
    supervisor = None
    if settings.role != "api":
        publisher = Everywhere(publications, PubSubPublisher(client, interval_s=settings.publish_s))
        supervisor = Supervisor(settings, session_factory, client, publisher, holder=node, meters=meters)
    catalog = Catalog(
        session_factory,
        client,
        publications,
        max_state_bytes=settings.max_state_bytes,
        max_models=settings.max_models,
        on_change=supervisor.look_now if supervisor else lambda: None,
    )
    meters.registry.register(ModelGauges(settings, session_factory, client, publications, supervisor, meters))
    limits = Limits(ttl_ms=int(settings.idempotency_ttl_s * 1000), most=settings.idempotency_max)
    rates = Rates(settings.rates_redis_url, requests_per_minute=settings.key_requests_per_minute)
    quota = Quota(
        async_redis, rates, samples_per_minute=settings.model_samples_per_minute, log_bytes=settings.max_log_bytes
    )
    ingest = Ingest(async_redis, catalog, limits, quota, wait_aof=wait_aof, meters=meters)
    commands = Commands(session_factory, ingest, publications, wait_s=settings.wait_s)
    return Services(
        settings=settings,
        engine=engine,
        sessions=session_factory,
        sync_redis=client,
        async_redis=async_redis,
        publications=publications,
        supervisor=supervisor,
        keyring=keyring,
        keys=Keys(session_factory, keyring),
        rates=rates,
        catalog=catalog,
        ingest=ingest,
        prediction=Prediction(catalog, publications, wait_s=settings.wait_s, meters=meters),
        snapshots=Snapshots(session_factory, client, commands),
        rewind=Rewind(session_factory, client, commands, device=settings.device),
        tuning=Tuning(catalog, commands),
        tracking=Tracking(
            async_redis, catalog, quota, ttl_s=settings.track_ttl_s, most=settings.track_max, wait_aof=wait_aof
        ),
        listeners=asyncio.Semaphore(settings.max_listeners),
        draining=threading.Event(),
        meters=meters,
    )
