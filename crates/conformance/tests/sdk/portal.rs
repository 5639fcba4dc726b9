//! The portal: what is listed and lent, and every exception.

use aws_sdk_sso::error::ProvideErrorMetadata as _;
use aws_sdk_sso::operation::RequestId as _;
use aws_sdk_sso::operation::get_role_credentials::GetRoleCredentialsError;
use aws_sdk_sso::operation::list_accounts::ListAccountsError;
use doorward_testkit::{Kit, large_directory};

use crate::sso;

async fn access_token(kit: &Kit) -> String {
    kit.device_tokens(&kit.device_client().await, "ada").await.access
}

#[tokio::test]
async fn role_credentials_arrive_with_their_end() {
    let kit = Kit::new().await;
    let token = access_token(&kit).await;
    let request = sso(&kit).get_role_credentials().access_token(token).account_id("111122223333");
    let output = request.role_name("AdministratorAccess").send().await.unwrap();
    assert!(output.request_id().is_some());
    let credentials = output.role_credentials().unwrap();
    assert_eq!(credentials.expiration(), kit.now().millis() + 3_600_000);
    assert!(credentials.access_key_id().is_some_and(|id| id.starts_with("ASIA")));
    assert!(credentials.secret_access_key().is_some() && credentials.session_token().is_some());
}

#[tokio::test]
async fn the_paginators_list_everything_once() {
    let kit = Kit::with(|setup| setup.directory = large_directory()).await;
    let (client, token) = (sso(&kit), access_token(&kit).await);
    let pages = client.list_accounts().access_token(&token).max_results(30).into_paginator();
    let accounts: Result<Vec<_>, _> = pages.items().send().collect().await;
    let ids: Vec<String> =
        accounts.unwrap().iter().map(|account| account.account_id().unwrap().to_owned()).collect();
    assert_eq!(ids, (1..=250).map(|n| format!("{n:012}")).collect::<Vec<_>>());

    let pages = client.list_account_roles().access_token(&token).account_id("000000000001").max_results(2);
    let roles: Result<Vec<_>, _> = pages.into_paginator().items().send().collect().await;
    let names: Vec<String> = roles.unwrap().iter().map(|role| role.role_name().unwrap().to_owned()).collect();
    assert_eq!(names, (1..=7).map(|n| format!("Role{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn after_a_logout_everything_is_unauthorized() {
    let kit = Kit::new().await;
    let (client, token) = (sso(&kit), access_token(&kit).await);
    client.logout().access_token(&token).send().await.unwrap();
    let error = client.list_accounts().access_token(&token).send().await.unwrap_err().into_service_error();
    assert!(matches!(&error, ListAccountsError::UnauthorizedException(inner)
        if inner.message() == Some("Session token not found or invalid")));
    let error = client.list_account_roles().access_token(&token).account_id("111122223333").send().await;
    assert!(error.unwrap_err().into_service_error().is_unauthorized_exception());
    let request =
        client.get_role_credentials().access_token(&token).account_id("111122223333").role_name("x");
    assert!(request.send().await.unwrap_err().into_service_error().is_unauthorized_exception());
    let error = client.logout().access_token(&token).send().await.unwrap_err().into_service_error();
    assert!(error.is_unauthorized_exception());
}

#[tokio::test]
async fn every_other_exception_is_typed() {
    use GetRoleCredentialsError as E;
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let (client, token) = (sso(&kit), access_token(&kit).await);
    let refused = async |account: &str, role: &str| {
        let request = client.get_role_credentials().access_token(&token).account_id(account).role_name(role);
        request.send().await.expect_err("a refusal").into_service_error()
    };
    assert!(matches!(refused("1", "x").await, E::InvalidRequestException(_)));
    // AWS does not model it, so the SDK has no variant; its code arrives all the same.
    let error = refused("111122223333", "NoSuchRole").await;
    assert_eq!((error.code(), error.message()), (Some("ForbiddenException"), Some("No access")));
    for max_results in [0, 101] {
        let error = client.list_accounts().access_token(&token).max_results(max_results).send().await;
        assert!(error.unwrap_err().into_service_error().is_invalid_request_exception());
    }
    for _ in 0..1000 {
        let _ = kit.list_accounts(&token).await;
    }
    assert!(matches!(refused("111122223333", "AdministratorAccess").await, E::TooManyRequestsException(_)));
    kit.advance(60);
    kit.store().fail(true, true);
    let error = refused("111122223333", "AdministratorAccess").await;
    assert_eq!(error.code(), Some("InternalServerException"));
}
