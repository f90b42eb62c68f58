//! References to the results of earlier steps.

use std::{fmt, marker::PhantomData};

use serde::de::DeserializeOwned;

use super::Instance;
use crate::HandlerError;

/// The result of a step, for later steps to read. Made by [`StepBuilder::add`](super::StepBuilder::add).
pub struct Ref<T> {
    step: String,
    output: PhantomData<fn() -> T>,
}

impl<T> Ref<T> {
    pub(super) fn new(step: String) -> Self {
        Self { step, output: PhantomData }
    }

    /// The step's name.
    pub fn name(&self) -> &str {
        &self.step
    }
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        Self::new(self.step.clone())
    }
}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ref").field(&self.step).finish()
    }
}

/// The steps that a step reads: `()`, one [`Ref`], or a tuple of them.
pub trait Reads: Send + Sync + 'static {
    /// The results.
    type Values: Send + 'static;

    #[doc(hidden)]
    fn names(&self) -> Vec<String>;

    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn load(&self, instance: &Instance<'_>) -> Result<Self::Values, HandlerError>;
}

impl Reads for () {
    type Values = ();

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    #[allow(private_interfaces)]
    fn load(&self, _instance: &Instance<'_>) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<T: DeserializeOwned + Send + 'static> Reads for Ref<T> {
    type Values = T;

    fn names(&self) -> Vec<String> {
        vec![self.step.clone()]
    }

    #[allow(private_interfaces)]
    fn load(&self, instance: &Instance<'_>) -> Result<T, HandlerError> {
        instance.output(&self.step)
    }
}

macro_rules! reads {
    ($($name:ident),+) => {
        impl<$($name: Reads),+> Reads for ($($name,)+) {
            type Values = ($($name::Values,)+);

            #[allow(non_snake_case)]
            fn names(&self) -> Vec<String> {
                let ($($name,)+) = self;
                [$($name.names()),+].concat()
            }

            #[allow(non_snake_case, private_interfaces)]
            fn load(&self, instance: &Instance<'_>) -> Result<Self::Values, HandlerError> {
                let ($($name,)+) = self;
                Ok(($($name.load(instance)?,)+))
            }
        }
    };
}

reads!(A);
reads!(A, B);
reads!(A, B, C);
reads!(A, B, C, D);
