//! Changes of endpoints, queues and jobs: read all, check, write only if nothing moved meanwhile, else again.

use std::sync::Arc;

use s3sync_proto::model::{
    Endpoint, EndpointSpec, Invalid, Job, JobSpec, Name, Queue, QueueSpec, Timestamp,
};

use crate::plan::check;
use crate::store::{Catalogue, CatalogueChange, Error, RequestKey, Store};

/// How often a change is tried while others are being made.
const MAX_TRIES: u32 = 10;

/// What must be so for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is none of that name.
    Absent,
    /// There is one; with an etag, it is still that one.
    Exists(Option<String>),
    /// Either; with an etag, what exists is still that one.
    Any(Option<String>),
}

/// How a change is made.
#[derive(Clone, Debug, Default)]
pub struct ChangeOptions {
    /// Check only.
    pub validate_only: bool,
    /// The client's request id.
    pub request: Option<RequestKey>,
}

/// Why a change was refused.
#[derive(Debug)]
pub enum Refused {
    /// Fields are wrong.
    Invalid(Invalid),
    /// There is one of that name.
    Exists,
    /// There is none of that name.
    Missing,
    /// It changed since it was read; the etag it has now.
    Changed(String),
    /// These resources name it.
    InUse(Vec<String>),
    /// The store refused.
    Store(Error),
}

/// Makes changes.
pub struct Editor {
    store: Arc<dyn Store>,
}

impl Editor {
    /// Changes the catalogue of this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Creates or replaces an endpoint.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn put_endpoint(
        &self,
        name: &Name,
        spec: EndpointSpec,
        precondition: Precondition,
        options: ChangeOptions,
        now: Timestamp,
    ) -> Result<Endpoint, Refused> {
        let change = CatalogueChange::PutEndpoint { name: name.clone(), spec: spec.clone() };
        let precondition = &precondition;
        let check = |catalogue: &Catalogue| {
            let existing = catalogue.endpoints.get(name).map(|found| found.etag.as_str());
            allow(precondition, existing)?;
            check::check_endpoint(name, &spec, catalogue).map_err(Refused::Invalid)
        };
        self.change(change, &options, now, check).await?;
        if options.validate_only {
            let (buckets, etag) = (Vec::new(), String::new());
            return Ok(Endpoint {
                name: name.clone(),
                spec,
                buckets,
                etag,
                created: now,
                updated: now,
            });
        }
        self.catalogue().await?.endpoints.remove(name).ok_or(Refused::Missing)
    }

    /// Creates or replaces a queue.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn put_queue(
        &self,
        name: &Name,
        spec: QueueSpec,
        precondition: Precondition,
        options: ChangeOptions,
        now: Timestamp,
    ) -> Result<Queue, Refused> {
        let change = CatalogueChange::PutQueue { name: name.clone(), spec: spec.clone() };
        let precondition = &precondition;
        let check = |catalogue: &Catalogue| {
            allow(precondition, catalogue.queues.get(name).map(|found| found.etag.as_str()))?;
            check::check_queue(&spec, catalogue).map_err(Refused::Invalid)
        };
        self.change(change, &options, now, check).await?;
        if options.validate_only {
            let name = name.clone();
            return Ok(Queue {
                name,
                spec,
                etag: String::new(),
                created: now,
                updated: now,
                status: None,
            });
        }
        self.catalogue().await?.queues.remove(name).ok_or(Refused::Missing)
    }

    /// Creates or replaces a job.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn put_job(
        &self,
        name: &Name,
        spec: JobSpec,
        precondition: Precondition,
        options: ChangeOptions,
        now: Timestamp,
    ) -> Result<Job, Refused> {
        let change = CatalogueChange::PutJob { name: name.clone(), spec: Box::new(spec.clone()) };
        let precondition = &precondition;
        let check = |catalogue: &Catalogue| {
            allow(precondition, catalogue.jobs.get(name).map(|found| found.etag.as_str()))?;
            check::check_job(name, &spec, catalogue).map(drop).map_err(Refused::Invalid)
        };
        self.change(change, &options, now, check).await?;
        let mut catalogue = self.catalogue().await?;
        let warnings = check::check_job(name, &spec, &catalogue).unwrap_or_default();
        if options.validate_only {
            let (uid, etag) = (String::new(), String::new());
            let name = name.clone();
            let (created, updated, latest_run, generation) = (now, now, None, 0);
            return Ok(Job {
                name,
                uid,
                spec,
                etag,
                generation,
                created,
                updated,
                latest_run,
                next_starts: Vec::new(),
                following: None,
                last: None,
                warnings,
            });
        }
        let mut job = catalogue.jobs.remove(name).ok_or(Refused::Missing)?;
        job.warnings = warnings;
        Ok(job)
    }

    /// Deletes a queue that no job names.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn delete_queue(
        &self,
        name: &Name,
        etag: Option<String>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let precondition = Precondition::Exists(etag);
        let check = |catalogue: &Catalogue| {
            allow(&precondition, catalogue.queues.get(name).map(|found| found.etag.as_str()))?;
            let users = check::users_of_queue(name, catalogue);
            if users.is_empty() { Ok(()) } else { Err(Refused::InUse(users)) }
        };
        let change = CatalogueChange::DeleteQueue { name: name.clone() };
        self.change(change, &ChangeOptions::default(), now, check).await
    }

    /// Deletes an endpoint that nothing names.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn delete_endpoint(
        &self,
        name: &Name,
        etag: Option<String>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let precondition = Precondition::Exists(etag);
        let check = |catalogue: &Catalogue| {
            allow(&precondition, catalogue.endpoints.get(name).map(|found| found.etag.as_str()))?;
            let users = check::users_of_endpoint(name, catalogue);
            if users.is_empty() { Ok(()) } else { Err(Refused::InUse(users)) }
        };
        let change = CatalogueChange::DeleteEndpoint { name: name.clone() };
        self.change(change, &ChangeOptions::default(), now, check).await
    }

    /// Deletes a job that is not running.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn delete_job(
        &self,
        name: &Name,
        etag: Option<String>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let precondition = Precondition::Exists(etag);
        let check = |catalogue: &Catalogue| {
            allow(&precondition, catalogue.jobs.get(name).map(|found| found.etag.as_str()))
        };
        let change = CatalogueChange::DeleteJob { name: name.clone() };
        self.change(change, &ChangeOptions::default(), now, check).await
    }

    /// Everything there is, with the warnings of jobs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catalogue(&self) -> Result<Catalogue, Refused> {
        self.store.catalogue().await.map_err(Refused::Store)
    }

    async fn change(
        &self,
        change: CatalogueChange,
        options: &ChangeOptions,
        now: Timestamp,
        check: impl Fn(&Catalogue) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        if let Some(request) = &options.request
            && self.store.remembered(request, now).await.map_err(Refused::Store)?.is_some()
        {
            return Ok(());
        }
        for _ in 0..MAX_TRIES {
            let catalogue = self.catalogue().await?;
            check(&catalogue)?;
            if options.validate_only {
                return Ok(());
            }
            let request = options.request.clone();
            match self
                .store
                .change_catalogue(catalogue.revision, change.clone(), request, now)
                .await
            {
                Ok(_) => return Ok(()),
                Err(Error::Moved) => {}
                Err(error) => return Err(Refused::Store(error)),
            }
        }
        Err(Refused::Store(Error::Moved))
    }
}

fn allow(precondition: &Precondition, existing: Option<&str>) -> Result<(), Refused> {
    match (precondition, existing) {
        (Precondition::Absent, None) | (Precondition::Any(None), None) => Ok(()),
        (Precondition::Absent, Some(_)) => Err(Refused::Exists),
        (Precondition::Exists(_), None) => Err(Refused::Missing),
        // Somebody who read an etag meant something that existed.
        (Precondition::Any(Some(_)), None) => Err(Refused::Missing),
        (Precondition::Exists(wanted) | Precondition::Any(wanted), Some(etag)) => match wanted {
            Some(wanted) if wanted != etag => Err(Refused::Changed(etag.to_owned())),
            _ => Ok(()),
        },
    }
}
