//! The operations of the two services, and the exceptions that each may answer.

/// Which service an operation belongs to; each has its own shape of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `sso-oidc`.
    SsoOidc,
    /// `sso`, the portal.
    Sso,
}

/// One operation of the model.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// Its service.
    pub service: Service,
    /// Its request method.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// The exceptions it may answer, beyond those of a request that reaches no operation.
    pub exceptions: &'static [&'static str],
}

/// Every operation this server has.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "RegisterClient",
        service: Service::SsoOidc,
        method: "POST",
        path: "/client/register",
        exceptions: &[
            "InvalidRequestException",
            "InvalidScopeException",
            "InvalidClientMetadataException",
            "InvalidRedirectUriException",
            "UnsupportedGrantTypeException",
            "SlowDownException",
            "InternalServerException",
        ],
    },
    Operation {
        name: "StartDeviceAuthorization",
        service: Service::SsoOidc,
        method: "POST",
        path: "/device_authorization",
        exceptions: &[
            "InvalidRequestException",
            "InvalidClientException",
            "UnauthorizedClientException",
            "SlowDownException",
            "InternalServerException",
        ],
    },
    Operation {
        name: "CreateToken",
        service: Service::SsoOidc,
        method: "POST",
        path: "/token",
        exceptions: &[
            "InvalidRequestException",
            "InvalidClientException",
            "InvalidGrantException",
            "UnauthorizedClientException",
            "UnsupportedGrantTypeException",
            "InvalidScopeException",
            "AuthorizationPendingException",
            "SlowDownException",
            "AccessDeniedException",
            "ExpiredTokenException",
            "InternalServerException",
        ],
    },
    Operation {
        name: "CreateTokenWithIAM",
        service: Service::SsoOidc,
        method: "POST",
        path: "/token?aws_iam=t",
        exceptions: &[
            "InvalidRequestException",
            "InvalidClientException",
            "InvalidGrantException",
            "UnauthorizedClientException",
            "UnsupportedGrantTypeException",
            "InvalidScopeException",
            "AuthorizationPendingException",
            "SlowDownException",
            "AccessDeniedException",
            "ExpiredTokenException",
            "InternalServerException",
            "InvalidRequestRegionException",
        ],
    },
    Operation {
        name: "GetRoleCredentials",
        service: Service::Sso,
        method: "GET",
        path: "/federation/credentials",
        exceptions: PORTAL_EXCEPTIONS,
    },
    Operation {
        name: "ListAccounts",
        service: Service::Sso,
        method: "GET",
        path: "/assignment/accounts",
        exceptions: PORTAL_EXCEPTIONS,
    },
    Operation {
        name: "ListAccountRoles",
        service: Service::Sso,
        method: "GET",
        path: "/assignment/roles",
        exceptions: PORTAL_EXCEPTIONS,
    },
    Operation {
        name: "Logout",
        service: Service::Sso,
        method: "POST",
        path: "/logout",
        exceptions: PORTAL_EXCEPTIONS,
    },
];

/// ForbiddenException and InternalServerException are not modelled, but AWS answers them.
const PORTAL_EXCEPTIONS: &[&str] = &[
    "InvalidRequestException",
    "UnauthorizedException",
    "TooManyRequestsException",
    "ResourceNotFoundException",
    "ForbiddenException",
    "InternalServerException",
];

#[cfg(test)]
mod tests {
    use doorward_core::refusal::{PortalRefusal, Refusal};

    use super::*;
    use crate::fault::{IamFault, OidcFault, PortalFault};

    fn exceptions_of(service: Service) -> Vec<&'static str> {
        let mut names: Vec<&str> = OPERATIONS
            .iter()
            .filter(|operation| operation.service == service)
            .flat_map(|op| op.exceptions)
            .copied()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// All that the faults can say, and no exception that no operation models.
    #[test]
    fn the_faults_and_the_model_name_the_same_exceptions() {
        let text = || "x".to_owned();
        let refusals = [
            Refusal::InvalidRequest(text()),
            Refusal::InvalidClient,
            Refusal::InvalidGrant,
            Refusal::InvalidRefreshToken,
            Refusal::ConsentRequired,
            Refusal::UnauthorizedClient,
            Refusal::UnsupportedGrantType,
            Refusal::InvalidScope,
            Refusal::AuthorizationPending,
            Refusal::SlowDown,
            Refusal::AccessDenied,
            Refusal::ExpiredToken,
            Refusal::InvalidClientMetadata(text()),
            Refusal::InvalidRedirectUri(text()),
            Refusal::InvalidTarget,
            Refusal::InvalidDpopProof(text()),
            Refusal::UseDpopNonce,
        ];
        let mut said: Vec<&str> =
            refusals.into_iter().map(|refusal| OidcFault::Refused(refusal).envelope().exception).collect();
        said.push(OidcFault::Internal.envelope().exception);
        let other_region = IamFault::OtherRegion { endpoint: text(), region: text() };
        said.push(other_region.envelope().exception);
        said.sort_unstable();
        said.dedup();
        assert_eq!(said, exceptions_of(Service::SsoOidc));

        let portal = exceptions_of(Service::Sso);
        for refusal in [
            PortalRefusal::InvalidRequest(text()),
            PortalRefusal::Unauthorized,
            PortalRefusal::NoAccess,
            PortalRefusal::TooManyRequests,
        ] {
            assert!(portal.contains(&PortalFault::Refused(refusal).envelope().exception));
        }
    }
}
